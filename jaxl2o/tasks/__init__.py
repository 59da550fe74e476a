"""A Task samples a problem from a key, and knows its objective."""
