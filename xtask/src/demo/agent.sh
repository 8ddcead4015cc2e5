# Stands in for an AI agent: runs confined, with the ordinary AWS CLI and curl.
step() { printf '\n\033[1magent$ %s\033[0m\n' "$*"; "$@" 2>&1; }
step aws sts get-caller-identity --query Account --output text
step aws s3 ls s3://demo-data/
step aws s3api delete-bucket --bucket demo-data
step aws secretsmanager get-secret-value --secret-id demo/database --query SecretString --output text
step aws s3api delete-object --bucket demo-data --key old.csv
step aws s3 ls s3://demo-data/
step curl --silent --show-error --max-time 10 https://192.0.2.10/
exit 0
