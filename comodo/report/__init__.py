"""What came out of a sweep, as one page: tables, pictures, the published numbers beside ours."""
