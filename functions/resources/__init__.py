"""The operations of the API, a module per resource."""
