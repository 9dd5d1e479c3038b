import os
import requests

API_KEY = os.getenv("DEVIN_API_KEY")
BASE_URL = "https://api.devin.ai/v2/enterprise"

try:
    response = requests.get(
        f"{BASE_URL}/members",
        headers={"Authorization": f"Bearer {API_KEY}"}
    )
    response.raise_for_status()
    data = response.json()
except requests.exceptions.HTTPError as e:
    if e.response.status_code == 401:
        print("Invalid API key")
    elif e.response.status_code == 403:
        print("Insufficient permissions - Enterprise Admin required")
    elif e.response.status_code == 429:
        print("Rate limit exceeded - wait and retry")
    else:
        print(f"API error: {e}")
