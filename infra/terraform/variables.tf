variable "name" {
  description = "The name of the hub's stack, with which all names begin."
  type        = string
  default     = "secbot"
}

variable "zip" {
  description = "The functions' zip, as make lambda builds it."
  type        = string
}

variable "architecture" {
  description = "What the zip is built for: arm64 or x86_64."
  type        = string
  default     = "arm64"
}

variable "mode" {
  description = "The most that secbot may do until somebody sets another mode in Slack: observe, ask or auto."
  type        = string
  default     = "observe"
}

variable "channel" {
  description = "The Slack channel of messages."
  type        = string
  default     = ""
}

variable "responders" {
  description = "Slack users and user groups who may decide, by id."
  type        = list(string)
  default     = []
}

variable "slack_bot_token" {
  description = "The bot token, xoxb-…. It stands in Terraform's state."
  type        = string
  default     = ""
  sensitive   = true
}

variable "slack_signing_secret" {
  description = "What Slack signs its requests with. It stands in Terraform's state."
  type        = string
  default     = ""
  sensitive   = true
}

variable "hub_parameters" {
  description = "Further parameters of hub.yaml, by their names there."
  type        = map(string)
  default     = {}
}

variable "organization_id" {
  description = "The organisation whose accounts may send events, o-…; empty for none."
  type        = string
  default     = ""
}

variable "organizational_units" {
  description = "The units whose accounts are watched, by a stack set; empty for none. Then Terraform must run in the organisation's management account."
  type        = list(string)
  default     = []
}

variable "member_regions" {
  description = "The regions of members that are watched; the first makes the roles."
  type        = list(string)
  default     = ["us-east-1"]
}

variable "external_id" {
  description = "What the hub must say when it takes the role in a member: 16 characters or more."
  type        = string
  default     = ""
  sensitive   = true
}
