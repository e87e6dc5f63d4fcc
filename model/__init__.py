"""The ResNet-CBAM-BLSTM network, its data, training, evaluation and weights."""
