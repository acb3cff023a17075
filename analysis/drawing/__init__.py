"""How a page looks: its style, its captions, its pictures."""
