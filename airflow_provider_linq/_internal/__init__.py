"""What the provider's own modules share. Nothing here is public: names and files may change with any release."""
