"""One student trained by one method on mapped arrays. Knows no store layout and no Ray."""
