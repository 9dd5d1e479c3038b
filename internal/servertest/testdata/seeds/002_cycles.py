import os
import requests

API_KEY = os.getenv("DEVIN_API_KEY")
BASE_URL = "https://api.devin.ai/v2/enterprise"

response = requests.get(
    f"{BASE_URL}/consumption/cycles",
    headers={"Authorization": f"Bearer {API_KEY}"}
)

cycles = response.json()
current_cycle = cycles["cycles"][0]
print(f"Current cycle: {current_cycle['start_date']} to {current_cycle['end_date']}")
print(f"ACUs used: {current_cycle['acus_used']}")
