"""What a stylisation needs beside what every cell does."""
