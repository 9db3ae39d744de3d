"""Networks: their layers, their plans, how they are assembled and what they are made of."""
