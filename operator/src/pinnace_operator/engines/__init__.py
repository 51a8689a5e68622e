"""What runs an iteration instead of a Job: the object of another operator, made, watched and read by a table."""
