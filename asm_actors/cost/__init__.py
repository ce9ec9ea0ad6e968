"""Cost: what models cost, what runs cost by that, and how much may still be spent."""
