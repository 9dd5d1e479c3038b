import os
import requests

API_KEY = os.getenv("DEVIN_API_KEY")
BASE_URL = "https://api.devin.ai/v2/enterprise"
org_id = "your_org_id"

response = requests.post(
    f"{BASE_URL}/organizations/{org_id}/permissions",
    headers={
        "Authorization": f"Bearer {API_KEY}",
        "Content-Type": "application/json"
    },
    json={
        "provider": "github",
        "repository": "org/repo-name",
        "permission": "read"
    }
)

print(f"Permission added: {response.json()}")
