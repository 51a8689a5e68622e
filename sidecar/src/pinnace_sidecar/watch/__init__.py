"""`pinnace watch`: the sidecar on a folder of this computer, for a person."""
