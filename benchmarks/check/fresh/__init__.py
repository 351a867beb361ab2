"""Programs written and verified last and fixed before any doctor saw them."""
