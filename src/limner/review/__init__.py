"""Review: which takes are good enough. Measured, then decided by rule or by hand.

1. `review` reads every done take once (cached by its SHA-256) and judges the set against itself.
2. The rules stand in one table (`rules.RULES`) with source and tag; character.yaml overrides them.
3. A decision is keep, reject or undecided, with reasons in words; a person's decision stands.
4. At most one take a shot is kept; a shot without one is open again, with the reason as hint.
5. `keep`, `reject`, `undo` decide by hand; `contact_sheet` shows all takes with their scores;
   `review_folder` does the same for any folder of pictures, outside a project.
"""

from limner.review.contact import contact_sheet, write_folder_sheets
from limner.review.folder import FolderReview, review_folder
from limner.review.stage import keep, reject, review, undo

__all__ = [
    "FolderReview",
    "contact_sheet",
    "keep",
    "reject",
    "review",
    "review_folder",
    "undo",
    "write_folder_sheets",
]
