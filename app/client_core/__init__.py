"""Inside of app.client: what is said to the service and when (free of I/O), and the two clients that say it."""
