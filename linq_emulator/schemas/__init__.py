"""The JSON of the API as types. The OpenAPI document is made of them; tests hold responses to them."""
