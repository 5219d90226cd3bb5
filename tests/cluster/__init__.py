"""Clusters: the files that describe them, and how engines are placed on one."""
