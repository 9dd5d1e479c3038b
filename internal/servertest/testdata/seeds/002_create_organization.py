import os
import requests

API_KEY = os.getenv("DEVIN_API_KEY")
BASE_URL = "https://api.devin.ai/v2/enterprise"

response = requests.post(
    f"{BASE_URL}/organizations",
    headers={
        "Authorization": f"Bearer {API_KEY}",
        "Content-Type": "application/json"
    },
    json={
        "name": "Engineering Team",
        "acu_limit": 1000
    }
)

org = response.json()
print(f"Created organization: {org['id']}")
