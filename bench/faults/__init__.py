"""The parts of bench/planted_faults.py: drawing the cast, planting faults, counting."""
