"""What ``gridtape doctor`` looks at, one module per subject."""
