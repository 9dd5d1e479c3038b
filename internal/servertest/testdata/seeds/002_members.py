import os
import requests

API_KEY = os.getenv("DEVIN_API_KEY")
BASE_URL = "https://api.devin.ai/v2/enterprise"

response = requests.get(
    f"{BASE_URL}/members",
    headers={"Authorization": f"Bearer {API_KEY}"}
)

members = response.json()
for member in members["members"]:
    print(f"{member['email']} - {member['role']}")
