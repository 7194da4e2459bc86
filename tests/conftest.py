"""Makes `fakes` (the fake servers) importable from every test."""
