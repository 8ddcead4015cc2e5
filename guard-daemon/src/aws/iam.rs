//! Operation → IAM actions and resources.
