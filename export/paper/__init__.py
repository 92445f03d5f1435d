"""What an export leaves behind: certificate, page, figures, and the files themselves."""
