"""Everything between a stored upload and stored rows: decoding, faces, tracks, clips, prediction, job state."""
