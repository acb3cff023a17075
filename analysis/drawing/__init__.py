"""How a page looks: its style, its words, its pictures."""
