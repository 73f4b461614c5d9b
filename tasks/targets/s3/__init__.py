"""A bucket at AWS, or at another service that speaks S3.

target.py      the target; options.py how it stands in the plan
connection.py  clients, keys, finding and listing
upload.py      sending, in parts, going on after a cut
reading.py     reading, and asking for what is in cold storage
lock.py        Object Lock, and removing for good
bucket.py      the bucket before its first use, and the rights to give
errors.py      what refusals and broken connections mean
"""
