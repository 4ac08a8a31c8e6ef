# secbot's own stacks, for those who keep everything in Terraform. The templates
# beside this module are the ones that `secbot deploy` carries.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

resource "aws_s3_bucket" "code" {
  bucket_prefix = "${var.name}-code-"
  force_destroy = true
}

resource "aws_s3_bucket_public_access_block" "code" {
  bucket                  = aws_s3_bucket.code.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "code" {
  bucket = aws_s3_bucket.code.id
  versioning_configuration {
    status = "Enabled"
  }
}

# Its key follows from its content, so that the stack notices another zip.
resource "aws_s3_object" "code" {
  bucket = aws_s3_bucket.code.id
  key    = "${filesha256(var.zip)}.zip"
  source = var.zip

  depends_on = [aws_s3_bucket_public_access_block.code, aws_s3_bucket_versioning.code]
}

resource "aws_cloudformation_stack" "hub" {
  name          = var.name
  capabilities  = ["CAPABILITY_NAMED_IAM"]
  template_body = file("${path.module}/../hub.yaml")

  parameters = merge({
    CodeBucket         = aws_s3_bucket.code.id
    CodeKey            = aws_s3_object.code.key
    Architecture       = var.architecture
    Mode               = var.mode
    Channel            = var.channel
    Responders         = join(",", var.responders)
    SlackBotToken      = var.slack_bot_token
    SlackSigningSecret = var.slack_signing_secret
    ExternalId         = var.external_id
    SecretsRevision    = substr(sha256("${var.slack_bot_token} ${var.slack_signing_secret} ${var.external_id}"), 0, 16)
    OrganizationId     = var.organization_id
  }, var.hub_parameters)
}

resource "aws_cloudformation_stack_set" "members" {
  count = length(var.organizational_units) > 0 ? 1 : 0

  name             = "${var.name}-member"
  permission_model = "SERVICE_MANAGED"
  capabilities     = ["CAPABILITY_NAMED_IAM"]
  template_body    = file("${path.module}/../member.yaml")

  parameters = {
    HubBusArn  = aws_cloudformation_stack.hub.outputs["BusArn"]
    HubRoleArn = aws_cloudformation_stack.hub.outputs["WorkerRoleArn"]
    ExternalId = var.external_id
    HomeRegion = var.member_regions[0]
    Name       = var.name
  }

  auto_deployment {
    enabled                          = true
    retain_stacks_on_account_removal = false
  }

  lifecycle {
    ignore_changes = [administration_role_arn]
  }
}

# The first region makes the roles that the rules of all others name.
resource "aws_cloudformation_stack_set_instance" "home" {
  count = length(var.organizational_units) > 0 ? 1 : 0

  stack_set_name = aws_cloudformation_stack_set.members[0].name
  region         = var.member_regions[0]
  deployment_targets {
    organizational_unit_ids = var.organizational_units
  }
}

resource "aws_cloudformation_stack_set_instance" "others" {
  for_each = length(var.organizational_units) > 0 ? toset(slice(var.member_regions, 1, length(var.member_regions))) : toset([])

  stack_set_name = aws_cloudformation_stack_set.members[0].name
  region         = each.value
  deployment_targets {
    organizational_unit_ids = var.organizational_units
  }

  depends_on = [aws_cloudformation_stack_set_instance.home]
}
