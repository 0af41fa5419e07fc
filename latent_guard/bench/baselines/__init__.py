"""What Latent Guard is compared with, itself included: one file a method, all behind one interface."""
