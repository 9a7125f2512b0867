"""Images: the real photographs that come with the tools, folders of the user's, and data sets."""
