"""What a model is made of: priors, channels, laws of spectra."""
