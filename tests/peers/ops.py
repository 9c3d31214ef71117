"""All tables of PyTorch's functions; see words.py."""
import elementwise
import networks
import shapes
from words import MOST, Unsaid, known, say, tolerance

__all__ = ["MOST", "Unsaid", "elementwise", "known", "networks", "say", "shapes", "tolerance"]
