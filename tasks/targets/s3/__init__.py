"""A bucket at AWS, or at another service that speaks S3."""
