curl -X GET "https://api.devin.ai/api/v2/enterprise/organizations" \
  -H "Authorization: Bearer YOUR_API_KEY"
