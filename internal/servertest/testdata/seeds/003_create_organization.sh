curl -X POST "https://api.devin.ai/v2/enterprise/organizations" \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{
    "display_name": "Engineering Team",
    "acu_limit": 1000
  }'
