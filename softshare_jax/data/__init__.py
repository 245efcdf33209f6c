"""Data that lives on the device."""
