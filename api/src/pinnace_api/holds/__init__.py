"""Legal holds: what nothing may remove until somebody who may lifts them."""
