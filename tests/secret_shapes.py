"""Ways to write a secret, one table for all that writes or shows a text."""

from __future__ import annotations

PW = "hunter2"
SHAPES = [
    # users and passwords of addresses
    "postgresql://me:hunter2@host/db",
    "postgresql://me:hunter2@host:5432/db?application_name=a@b",
    "mysql+pymysql://me:hun/hunter2@host/db",
    "http://me:p@hunter2@host:5000/x",
    "http://me:a hunter2@host/x",
    "http://me:a,hunter2;b')c@host/x",
    "http://me:a#hunter2@host/x",
    "http://me:a?hunter2@host/x",
    "https://hunter2@hub.org/x",
    "https://:hunter2@[::1]:5000/x",
    "//me:hunter2@host/x",
    "redirect=https%3A%2F%2Fme%3Ahunter2%40host%2Fx",
    "two: http://a:1@h/x and http://me:hunter2@h/y",
    # queries and fragments
    "postgresql://host/db?user=me&password=hunter2",
    "postgresql://host/db?sslpassword=hunter2&sslmode=require",
    "postgresql://host/db?pass%77ord=hunter2",
    "postgresql://host/db?password=a hunter2&user=me",
    "postgresql://host/db?password=a,hunter2;b')c&user=me",
    "https://h/x?key=hunter2&page=2",
    "https://h/x?a=1&sig=hunter2",
    "https://h/x?subscription-key=hunter2",
    "https://h/x?access%5Ftoken=hunter2",
    "https://h/x#access_token=hunter2&state=1",
    "https://h/x?X-Amz-Signature=hunter2&X-Amz-Date=1",
    "next=https%3A%2F%2Fh%2Fx%3Faccess_token%3Dhunter2",
    # names and values in text
    "password=hunter2, user=me",
    "password = hunter2",
    "host=h password='a hunter2' user=me",
    "password=a\\ hunter2 user=me",
    "AWS_SECRET_ACCESS_KEY=hunter2",
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hunter2==;EndpointSuffix=core",
    "SharedAccessSignature=sv=1&sig=hunter2",
    "export HF_TOKEN=hunter2",
    "mlflow --tracking-password hunter2 --port 5000",
    "Settings(user='me', api_key='hunter2', n=3)",
    # JSON, cut off and in itself
    '{"user": "me", "password": "hunter2"}',
    '{"client_secret":"a\\"hunter2"}',
    '{"body": "{\\"token\\": \\"hunter2\\"}"}',
    "{'access_token': 'hunter2'}",
    '{"private_key": "a hunter2',
    '{"password": {"value": "hunter2", "of": ["hunter2"]}}',
    '{"passwords": ["a", "hunter2"]}',
    "[('user', 'me'), ('password', 'hunter2')]",
    "{'Authorization': b'Bearer hunter2'}",
    "password = 'it''s hunter2'",
    "password:\n  hunter2",
    "<password>hunter2</password>",
    # of other tools
    "scp me:hunter2@host:/x",
    "oauth2:hunter2@github.com is no address",
    # headers
    "Authorization: Bearer hunter2",
    "Authorization: Basic aHVu hunter2",
    "{'Authorization': 'Digest username=me, response=hunter2'}",
    'curl -H "X-Api-Key: hunter2" https://h',
    "Ocp-Apim-Subscription-Key: hunter2",
    "Cookie: session=hunter2; theme=dark",
    "sent Bearer hunter2hunter2",
    # tokens by their looks
    "401 for hf_hunter2hunter2hunter2hunter2hunter2",
    "npm_hunter2hunter2hunter2hunter2hunter2",
    "pypi-hunter2hunter2hunter2",
    "AIzahunter2hunter2hunter2hunter2hunter2",
    "ghp_hunter2hunter2hunter2hunter2 is no longer valid",
    "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
]
"""Ways to write a secret, which is hunter2 in all of them."""
