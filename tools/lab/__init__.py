"""What quickstart and the tests share: a vrdmad of their own, programs on its vNICs, clean ends."""
