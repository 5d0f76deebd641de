"""Linux device-mapper in Python."""
