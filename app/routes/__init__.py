"""The endpoints: what a request means and what its answer looks like. The work is in app.jobs and its neighbours."""
