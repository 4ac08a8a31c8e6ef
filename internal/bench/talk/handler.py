"""What the talk's function for security groups does, written anew: it takes back
the ingress or egress rule that an event tells of and tells a topic so. As there,
clients are made for each event."""

import json
import os

import boto3


def upper_first(name):
    return name[0].upper() + name[1:]


def normalized(items):
    """The permissions of a CloudTrail event as boto3 wants them."""
    permissions = []
    for item in items:
        permission = {
            upper_first(key): value
            for key, value in item.items()
            if key in ("ipProtocol", "fromPort", "toPort")
        }
        ranges = item.get("ipRanges", {}).get("items", [])
        permission["IpRanges"] = [{"CidrIp": r["cidrIp"]} for r in ranges]
        ranges = item.get("ipv6Ranges", {}).get("items", [])
        permission["Ipv6Ranges"] = [{"CidrIpv6": r["cidrIpv6"]} for r in ranges]
        permissions.append({key: value for key, value in permission.items() if value != []})
    return permissions


def handle(event):
    detail = event["detail"]
    parameters = detail["requestParameters"]
    permissions = normalized(parameters["ipPermissions"]["items"])
    ec2 = boto3.client("ec2")
    if detail["eventName"] == "AuthorizeSecurityGroupIngress":
        ec2.revoke_security_group_ingress(GroupId=parameters["groupId"], IpPermissions=permissions)
    elif detail["eventName"] == "AuthorizeSecurityGroupEgress":
        ec2.revoke_security_group_egress(GroupId=parameters["groupId"], IpPermissions=permissions)
    else:
        return
    message = "AUTO-MITIGATED: rule removed from security group {} that was added by {}: {}".format(
        parameters["groupId"], detail["userIdentity"]["arn"], json.dumps(permissions)
    )
    boto3.client("sns").publish(
        TopicArn=os.environ["SNS_TOPIC_ARN"], Message=message, Subject="Auto-mitigation successful"
    )
