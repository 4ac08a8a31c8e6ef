output "url" {
  description = "Where Slack reaches secbot."
  value       = aws_cloudformation_stack.hub.outputs["Url"]
}

output "hub" {
  description = "All outputs of the hub's stack."
  value       = aws_cloudformation_stack.hub.outputs
}
