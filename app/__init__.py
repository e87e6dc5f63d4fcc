"""REST interface: HTTP in, durable jobs out; never imports the numerical stack."""
