class HTTPError(Exception):
    def __init__(self, text, response=None):
        super().__init__(text)
        self.response = response
