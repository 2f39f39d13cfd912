"""What makes the course reproduce itself: runs, checks, reports, studies, and the `fer` command."""
