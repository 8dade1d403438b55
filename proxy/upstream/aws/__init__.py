"""Amazon's own way of asking: credentials from wherever its tools find them, and signatures made with them."""
