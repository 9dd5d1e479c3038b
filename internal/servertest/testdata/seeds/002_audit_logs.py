import os
import requests
from datetime import datetime, timedelta

API_KEY = os.getenv("DEVIN_API_KEY")
BASE_URL = "https://api.devin.ai/v2/enterprise"

start_date = (datetime.now() - timedelta(days=7)).isoformat()

response = requests.get(
    f"{BASE_URL}/audit-logs",
    headers={"Authorization": f"Bearer {API_KEY}"},
    params={"start_date": start_date, "limit": 100}
)

logs = response.json()
for log in logs["logs"]:
    print(f"{log['timestamp']} - {log['action']} by {log['actor']}")
