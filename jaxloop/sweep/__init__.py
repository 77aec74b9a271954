"""A sweep file as checked settings and members: no JAX here."""
