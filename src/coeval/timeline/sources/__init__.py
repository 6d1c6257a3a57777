"""What the user says about sources, and the evidence between them."""
